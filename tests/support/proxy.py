"""A TCP proxy between a host and its PostgreSQL that cuts connections at chosen moments.

It cuts where it hurts: when a statement (COMMIT, say) was sent and before it reaches the server, or after the server
has carried it out and before the client hears of it.

    proxy.cut("after", b"COMMIT")     # the next COMMIT is carried out, and nobody is told

A tick that goes as one statement (`persistence/quick_commit.py`) is a COMMIT, too.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Moment = Literal["before", "after"]


_QUICK = re.compile(rb"(__asyncpg_stmt_\w+__)\0with fence as")
"""A statement that is a commit by itself, as it is prepared: its name comes first."""


@dataclass(slots=True)
class _Cut:
    moment: Moment
    statement: bytes


class Proxy:
    """Forwards connections on a port of its own. Use as an async context manager."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self._cuts: list[_Cut] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts_made = 0
        self.is_closed = False
        """Whether new connections are refused."""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_all()
        await self._server.wait_closed()

    @property
    def dsn(self) -> str:
        """The address of the database by way of this proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        at = self._target
        return f"{at.scheme}://{at.username}:{at.password}@127.0.0.1:{port}{at.path}"

    def cut(self, moment: Moment, statement: bytes) -> None:
        """Cut the connection on which the statement is sent next; several cuts wait for one statement each."""
        self._cuts.append(_Cut(moment, statement))

    def drop_all(self) -> None:
        """Cut every connection now."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_closed:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        pair = {writer, server_writer}
        self._writers |= pair
        is_cutting = asyncio.Event()
        back = asyncio.create_task(self._forward_answers(server_reader, writer, is_cutting))
        try:
            await self._forward_requests(reader, server_writer, is_cutting)
        except OSError:
            pass
        finally:
            if is_cutting.is_set():
                # The server carries the statement out; its answer is read here and goes no further.
                await back
            for each in pair:
                each.transport.abort()
            await asyncio.gather(back, return_exceptions=True)
            self._writers -= pair

    async def _forward_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cutting: asyncio.Event
    ) -> None:
        commits: set[bytes] = set()
        while data := await reader.read(1 << 16):
            prepared = _QUICK.findall(data)
            commits.update(prepared)
            is_commit = not prepared and any(b"\0" + name + b"\0" in data for name in commits)
            wanted = next(
                (each for each in self._cuts if each.statement in data or (is_commit and each.statement == b"COMMIT")),
                None,
            )
            if wanted is not None:
                self._cuts.remove(wanted)
                self.cuts_made += 1
                if wanted.moment == "before":
                    return
                is_cutting.set()
            writer.write(data)
            await writer.drain()
            if wanted is not None:
                return

    @staticmethod
    async def _forward_answers(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cutting: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if is_cutting.is_set():
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.transport.abort()
