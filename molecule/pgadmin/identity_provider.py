"""A small OpenID Connect provider on Authlib, which pgAdmin's image has, for the tests.

Whoever asks is the person named in LOGIN_AS. It reads CLIENT_ID, CLIENT_SECRET, REDIRECT_URI and ISSUER.
"""

import os
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from flask import Flask, jsonify
from joserfc.jwk import RSAKey

ISSUER = os.environ["ISSUER"]
KEY = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
PERSON = os.environ["LOGIN_AS"]
CODES: dict = {}


class Client(ClientMixin):
    """pgAdmin, the one client."""

    client_id = os.environ["CLIENT_ID"]

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return os.environ["REDIRECT_URI"]

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri == os.environ["REDIRECT_URI"]

    def check_client_secret(self, client_secret):
        return client_secret == os.environ["CLIENT_SECRET"]

    def check_endpoint_auth_method(self, method, *_):
        return method == "client_secret_basic"

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type == "authorization_code"


class Code:
    """A code that was given out, until it is exchanged."""

    def __init__(self, request):
        data = request.payload.data
        self.redirect_uri, self.scope, self.nonce = data["redirect_uri"], data["scope"], data.get("nonce")
        self.code_challenge, self.code_challenge_method = data["code_challenge"], data["code_challenge_method"]
        self.auth_time = int(time.time())

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope

    def get_nonce(self):
        return self.nonce

    def get_auth_time(self):
        return self.auth_time

    def get_acr(self):
        return None

    def get_amr(self):
        return None


class AuthorizationCode(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def save_authorization_code(self, code, request):
        CODES[code] = Code(request)

    def query_authorization_code(self, code, *_):
        return CODES.get(code)

    def delete_authorization_code(self, authorization_code):
        for code in [code for code, found in CODES.items() if found is authorization_code]:
            del CODES[code]

    def authenticate_user(self, *_):
        return PERSON


class IdToken(OpenIDCode):
    def exists_nonce(self, *_):
        return False

    def get_jwt_config(self, *_):
        return {"key": KEY, "alg": "RS256", "iss": ISSUER, "exp": 300}

    def get_encode_header(self, *_):
        return {"kid": KEY.kid, "alg": "RS256"}

    def resolve_client_private_key(self, *_):
        return KEY

    def generate_user_info(self, user, *_):
        return UserInfo(sub="1234", email=user, groups=["database"])


app = Flask(__name__)
server = AuthorizationServer(app, query_client=lambda _: Client(), save_token=lambda *_: None)
server.register_grant(AuthorizationCode, [IdToken(require_nonce=False), CodeChallenge(required=True)])


@app.get("/.well-known/openid-configuration")
def metadata():
    return jsonify(
        issuer=ISSUER,
        authorization_endpoint=f"{ISSUER}/authorize",
        token_endpoint=f"{ISSUER}/token",
        jwks_uri=f"{ISSUER}/keys",
        response_types_supported=["code"],
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=["RS256"],
        token_endpoint_auth_methods_supported=["client_secret_basic"],
        code_challenge_methods_supported=["S256"],
    )


@app.get("/keys")
def keys():
    return jsonify(keys=[KEY.as_dict(private=False)])


@app.get("/authorize")
def authorize():
    return server.create_authorization_response(grant_user=PERSON)


@app.post("/token")
def token():
    return server.create_token_response()
