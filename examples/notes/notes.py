"""Notes over HTTP: another framework, database driver and schema, deployed by the same roles."""

from __future__ import annotations

import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

# How TLS is verified comes from PGSSLMODE and PGSSLROOTCERT, which libpq reads by itself.
DATABASE = URL.create(
    "postgresql+psycopg",
    username=os.environ["DB_USER"],
    password=os.environ["DB_PASSWORD"],
    host=os.environ["DB_HOST"],
    port=int(os.environ["DB_PORT"]),
    database=os.environ["DB_NAME"],
)
engine = create_async_engine(DATABASE, pool_pre_ping=True)


async def healthz(_: Request) -> JSONResponse:
    """Tell that the process answers."""
    return JSONResponse({"status": "healthy"})


async def readyz(_: Request) -> JSONResponse:
    """Check the database and its migrations."""
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT FROM notes LIMIT 0"))
    except SQLAlchemyError:
        return JSONResponse({"status": "not ready"}, HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": "ready"})


async def notes(_: Request) -> JSONResponse:
    """List the latest notes."""
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT id, body FROM notes ORDER BY id DESC LIMIT 100"))
        return JSONResponse([dict(row) for row in rows.mappings()])


async def add_note(request: Request) -> JSONResponse:
    """Add a note, for those who know the token."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), os.environ["API_TOKEN"].encode()):
        return JSONResponse({"error": "a bearer token is needed"}, HTTPStatus.UNAUTHORIZED)
    body = (await request.body()).decode()
    async with engine.begin() as connection:
        row = await connection.execute(
            text("INSERT INTO notes (body) VALUES (:body) RETURNING id, body"), {"body": body}
        )
        return JSONResponse(dict(row.mappings().one()), HTTPStatus.CREATED)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Close the connections at the end."""
    yield
    await engine.dispose()


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/notes", notes),
        Route("/notes", add_note, methods=["POST"]),
    ],
)
