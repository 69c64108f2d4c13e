"""The console: the browser's part of Orderplan, served from the bundle that ships with the package.

The bundle in gateway/console/ is built from console/ (`make console`) and committed. Every address of the console gives
the same page, which reads its address itself; names of the other files carry a hash of what is in them. Each file is
read and compressed once, when it is first asked for, and kept: two megabytes.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from aiohttp import web

from domain.errors import NotFound

FOLDER: Final = Path(__file__).parent / "console"
ASSETS: Final = FOLDER / "assets"
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
HEADERS: Final = {
    # Styles of single elements are set by scripts, which this admits; the one policy for trusted types is for the
    # worker that lays plans out.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types console-worker"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"
GZIP_LEVEL: Final = 6
"""The highest saves one part in a hundred more, and takes twice as long."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is and compressed, and the name of its contents."""

    plain: bytes
    packed: bytes
    etag: str


async def get_console(request: web.Request) -> web.StreamResponse:
    """GET /: the console."""
    return await _page(request)


async def get_console_page(request: web.Request) -> web.StreamResponse:
    """GET /console/{tail}: the console at one of its own addresses."""
    return await _page(request)


async def get_console_file(request: web.Request) -> web.StreamResponse:
    """GET /console/assets/{name}: a file of the console, the same for ever under its name."""
    name = request.match_info["name"]
    if name not in file_names():
        raise NotFound(f"the console has no file {name!r}", mend="load the page anew; the server has been updated")
    return await _served(request, ASSETS / name, FOR_EVER)


@lru_cache(1)
def file_names() -> frozenset[str]:
    """The names of the bundle's files, as they are installed."""
    return frozenset(path.name for path in ASSETS.iterdir() if path.suffix in CONTENT_TYPES)


async def _page(request: web.Request) -> web.StreamResponse:
    # Kept by browsers, but asked for again each time: after an update nobody sees half of the old console.
    return await _served(request, FOLDER / "index.html", "no-cache")


async def _served(request: web.Request, path: Path, cache: str) -> web.StreamResponse:
    file = await asyncio.to_thread(_read, path)
    headers = HEADERS | {"Cache-Control": cache, "ETag": f'"{file.etag}"', "Vary": "Accept-Encoding"}
    if any(each.value in (file.etag, "*") for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = CONTENT_TYPES[path.suffix]
    is_packed = "gzip" in request.headers.get("Accept-Encoding", "")
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=file.packed if is_packed else file.plain, headers=headers)


@lru_cache(64)
def _read(path: Path) -> _File:
    plain = path.read_bytes()
    return _File(plain, gzip.compress(plain, GZIP_LEVEL, mtime=0), hashlib.sha256(plain).hexdigest()[:32])
