"""The same list of records as the documentation of both would have it.

https://fastapi.tiangolo.com/tutorial/sql-databases/ and
https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What all models share."""


class Record(Base):
    """A row."""

    __tablename__ = "data"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RecordOut(BaseModel):
    """A row in JSON."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str
    created_at: datetime


class RecordList(BaseModel):
    """A page of rows in JSON."""

    data: list[RecordOut]


engine = create_async_engine(f"postgresql+asyncpg://{os.environ['DATABASE']}")
open_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def session() -> AsyncIterator[AsyncSession]:
    """Open a session for a request."""
    async with open_session() as opened:
        yield opened


@app.get("/api/data", response_model=RecordList)
async def records(opened: Annotated[AsyncSession, Depends(session)]) -> dict[str, object]:
    """List records."""
    return {"data": (await opened.scalars(select(Record).order_by(Record.id).limit(100))).all()}
