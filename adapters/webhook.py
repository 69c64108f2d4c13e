"""Posts a document to an address that somebody else has given, and says whether it was taken. Nothing is repeated here.

The answer's body is read only so that the connection can be used again, and only as far as that is cheap. Redirects are
not followed: whoever moved registers anew.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import aiohttp

TIMEOUT_S: Final = 10.0
BODY_READ_MAX: Final = 16 * 1024
_KEEPALIVE_S: Final = 4.0
_REASON_LENGTH_MAX: Final = 300


class Answer(NamedTuple):
    """`error` is empty if a 2xx came; `status` is None if nothing came."""

    status: int | None
    error: str = ""


class Webhooks:
    """A pool of connections to all listeners; whoever calls bounds how many calls are open."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes) -> Answer:
        """Send a JSON document."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, body)
        except TimeoutError:
            return Answer(None, f"no answer came within {self._timeout_s:g} s")
        except aiohttp.ClientResponseError as error:
            return Answer(None, f"the answer is no HTTP: {error.message}"[:_REASON_LENGTH_MAX])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, f"no connection: {str(error) or type(error).__name__}"[:_REASON_LENGTH_MAX])

    async def _post(self, url: str, body: bytes) -> Answer:
        async with self._open_session().post(
            url, data=body, headers={"Content-Type": "application/json;charset=utf-8"}, allow_redirects=False
        ) as response:
            left = BODY_READ_MAX
            async for chunk in response.content.iter_any():
                left -= len(chunk)
                if left < 0:
                    response.close()
                    break
            if 200 <= response.status < 300:
                return Answer(response.status)
            hint = ": redirects are not followed" if 300 <= response.status < 400 else ""
            return Answer(response.status, f"answered {response.status}{hint}")

    def _open_session(self) -> aiohttp.ClientSession:
        # Made at the first call: a session belongs to the loop that runs.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
