"""A guestbook, as most Flask services are: Flask-SQLAlchemy for the tables, Flask-Migrate for their changes."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any

from flask import Flask, request
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

app = Flask(__name__)
# How TLS is verified comes from PGSSLMODE and PGSSLROOTCERT, which libpq reads by itself.
app.config["SQLALCHEMY_DATABASE_URI"] = URL.create(
    "postgresql+psycopg2",
    username=os.environ["DB_USER"],
    password=os.environ["DB_PASSWORD"],
    host=os.environ["DB_HOST"],
    port=int(os.environ["DB_PORT"]),
    database=os.environ["DB_NAME"],
)
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True}
db = SQLAlchemy(app)
Migrate(app, db)


class Entry(db.Model):  # type: ignore[name-defined,misc]
    """What a guest has written."""

    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.Text, nullable=False)


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Tell that the process answers."""
    return {"status": "healthy"}


@app.get("/readyz")
def readyz() -> tuple[dict[str, str], HTTPStatus]:
    """Check the database and its migrations."""
    try:
        db.session.execute(db.select(Entry.id).limit(0))
    except SQLAlchemyError:
        return {"status": "not ready"}, HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": "ready"}, HTTPStatus.OK


@app.get("/entries")
def entries() -> list[dict[str, Any]]:
    """List the latest entries."""
    found = db.session.scalars(db.select(Entry).order_by(Entry.id.desc()).limit(100))
    return [{"id": entry.id, "text": entry.text} for entry in found]


@app.post("/entries")
def add_entry() -> tuple[dict[str, Any], HTTPStatus]:
    """Add an entry."""
    entry = Entry(text=request.get_data(as_text=True))
    db.session.add(entry)
    db.session.commit()
    return {"id": entry.id, "text": entry.text}, HTTPStatus.CREATED
