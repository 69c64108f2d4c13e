"""The console: the browser's part of Orderplan, served from the bundle that ships with the package.

The bundle in gateway/console/ is built from console/ (`make console`) and committed. Every address of the console gives
the same page, which reads its address itself; names of the other files carry a hash of what is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from domain.errors import NotFound

FOLDER: Final = Path(__file__).parent / "console"
ASSETS: Final = FOLDER / "assets"
CONTENT_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
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


async def get_console(request: web.Request) -> web.StreamResponse:
    """GET /: the console."""
    return _page()


async def get_console_page(request: web.Request) -> web.StreamResponse:
    """GET /console/{tail}: the console at one of its own addresses."""
    return _page()


async def get_console_file(request: web.Request) -> web.StreamResponse:
    """GET /console/assets/{name}: a file of the console, the same for ever under its name."""
    name = request.match_info["name"]
    if name not in file_names():
        raise NotFound(f"the console has no file {name!r}", mend="load the page anew; the server has been updated")
    headers = {**HEADERS, "Cache-Control": FOR_EVER, "Content-Type": CONTENT_TYPES[Path(name).suffix]}
    return web.FileResponse(ASSETS / name, headers=headers)


def file_names() -> frozenset[str]:
    """The names of the bundle's files, as they are installed."""
    return frozenset(path.name for path in ASSETS.iterdir() if path.suffix in CONTENT_TYPES)


def _page() -> web.FileResponse:
    headers = {**HEADERS, "Cache-Control": "no-cache", "Content-Type": "text/html; charset=utf-8"}
    return web.FileResponse(FOLDER / "index.html", headers=headers)
