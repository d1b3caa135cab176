"""The same list of records as its documentation would have it: https://flask-sqlalchemy.readthedocs.io/en/stable/quickstart/."""

import os
from datetime import datetime

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What all models share."""


db = SQLAlchemy(model_class=Base)


class Record(db.Model):
    """A row."""

    __tablename__ = "data"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]


app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"postgresql+psycopg2://{os.environ['DATABASE']}"
db.init_app(app)


@app.get("/api/data")
def records():
    """List records."""
    found = db.session.execute(db.select(Record).order_by(Record.id).limit(100)).scalars()
    return {"data": [{"id": row.id, "name": row.name, "created_at": row.created_at.isoformat()} for row in found]}
