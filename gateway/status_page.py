"""The status page: a small page that shows orders, plans, queues and fallout, read from the public API.

Its files stand in gateway/page/ and ship with the package. They are served as they are: no build step, no framework and
nothing from elsewhere. The page shows what channels and systems wrote, so nothing in it may ever run: the policy
below admits this server's own files only, and has the browser refuse texts where markup is expected.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from domain.errors import NotFound

FOLDER: Final = Path(__file__).parent / "page"
INDEX: Final = "index.html"
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept by browsers, but asked for again each time: after an update nobody sees half of the old page.
    "Cache-Control": "no-cache",
}


async def get_status_page(request: web.Request) -> web.StreamResponse:
    """GET /status: the status page."""
    return _file(INDEX)


async def get_status_page_file(request: web.Request) -> web.StreamResponse:
    """GET /page/{name}: a file of the status page."""
    name = request.match_info["name"]
    if name not in file_names():
        raise NotFound(f"the status page has no file {name!r}")
    return _file(name)


def file_names() -> frozenset[str]:
    """The names of the page's files, as they are installed."""
    return frozenset(path.name for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES)


def _file(name: str) -> web.FileResponse:
    return web.FileResponse(FOLDER / name, headers={**HEADERS, "Content-Type": CONTENT_TYPES[Path(name).suffix]})
