"""The process in which one price function runs, so that it can be ended whatever it does.

`python -m adapters.price_worker NAME`: lists of arguments come on standard input as pickles, answers go to standard
output as JSON, each with a length of four bytes before it; the first answer says whether the function could be loaded.
Both ends are ours, but an answer is never unpickled: what a function gives may be of any class. What it prints is lost,
because it may quote an order's values.
"""

from __future__ import annotations

import inspect
import os
import pickle
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import orjson

from adapters.named_functions import find_function
from domain.pricing import checked_values

GROUP: Final = "orderplan.price_functions"
LENGTH_BYTES: Final = 4
MEMORY_MAX: Final = 512 * 1024 * 1024
"""Address space of the process; what asks for more gets a MemoryError."""
VALUES_BYTES_MAX: Final = 64 * 1024
WATCH_S: Final = 1.0


def load_function(name: str) -> Callable[..., Any] | str:
    """The price function of that name; a sentence that says why there is none that can be called."""
    found = find_function(GROUP, "price function", name)
    if isinstance(found, str):
        return found
    if inspect.iscoroutinefunction(found):
        return f"price function {name!r} is async: it computes, and waits for nobody"
    try:
        inspect.signature(found).bind({}, {}, {})
    except (TypeError, ValueError):
        return f"price function {name!r} does not take (prices, line, context)"
    return found


def main() -> None:
    """Serve until standard input ends or the parent is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        function = load_function(sys.argv[1])
    except BaseException as error:
        # Whatever its module does when it is imported, down to `sys.exit`.
        function = f"price function {sys.argv[1]!r} cannot be imported: its module raised {type(error).__name__}"
    if isinstance(function, str):
        _write(answers, {"failure": function})
        return
    _write(answers, {"values": {}})
    requests = sys.stdin.buffer
    while len(head := requests.read(LENGTH_BYTES)) == LENGTH_BYTES:
        for arguments in pickle.loads(requests.read(int.from_bytes(head, "big"))):
            _write(answers, _called(function, arguments))


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    try:
        given = function(*arguments)
    except BaseException as error:
        # Its type and place only: its text may quote an order's values.
        return {"failure": f"raised {type(error).__name__}{_place(error)}"}
    try:
        answer = {"values": checked_values(given)}
        if len(orjson.dumps(answer)) > VALUES_BYTES_MAX:
            return {"failure": f"gave more than {VALUES_BYTES_MAX} bytes"}
    except ValueError as error:
        return {"failure": str(error)[:500]}
    except BaseException as error:
        # A mapping of its own may do anything when it is read.
        return {"failure": f"gave values that cannot be read: {type(error).__name__}"}
    return answer


def _place(error: BaseException) -> str:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f" at {os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else ""


def _write(answers: BinaryIO, answer: dict[str, Any]) -> None:
    try:
        body = orjson.dumps(answer)
    except TypeError:
        # A lone surrogate in a text.
        body = orjson.dumps({"failure": "gave a text that cannot be stored"})
    answers.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
    answers.flush()


def _end_with(parent: int) -> None:
    """A function may sleep for ever: nobody but this thread would see that the host is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(0)


if __name__ == "__main__":
    main()
