"""The process in which a model of one's own lives, so that it can be ended whatever it does.

`python -m delay.worker package.module:Class`, with an empty address for a model that comes as a document. Requests come
on standard input, answers go to standard output, each a length of eight bytes and a pickle. Both ends are ours; what
the model prints goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
import threading
import time
from typing import Any, BinaryIO, Final

from delay.loading import load_model
from delay.model import DelayModel, Prediction, UnusablePrediction, checked
from delay.stock.running import Runner

LENGTH_BYTES: Final = 8
MEMORY_MAX: Final = 4 * 2**30
"""Bytes that a model may hold; one that wants more gets a MemoryError, and the machine keeps the rest."""
WATCH_S: Final = 1.0


def encoded(message: Any) -> bytes:
    """A message as it travels."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def _serve(address: str, requests: BinaryIO, answers: BinaryIO) -> None:
    model: DelayModel | Runner | None = None
    while len(head := requests.read(LENGTH_BYTES)) == LENGTH_BYTES:
        method, argument = pickle.loads(requests.read(int.from_bytes(head, "big")))
        try:
            if method == "load":
                model = Runner(argument)
                body = encoded(("done", None))
            else:
                model = model or load_model(address)
                body = encoded(("done", _call(model, method, argument)))
        except Exception as error:
            # Whatever a user's model raises is the answer. Its type only: its text may quote an order's values.
            body = encoded(("failed", type(error).__name__))
        answers.write(body)
        answers.flush()


def _call(model: DelayModel | Runner, method: str, argument: Any) -> list[Any] | None:
    if method == "fit":
        model.fit(argument)
        return None
    if method == "explain":
        return list(model.explain(argument)) if isinstance(model, Runner) else None
    return [_plain(answer) for answer in model.predict(argument)]


def _plain(answer: Any) -> Prediction | None:
    """The prediction in plain numbers and texts, None for one that cannot be: nothing of the model's own classes may
    reach the predictor's process.
    """
    try:
        return checked(answer)
    except UnusablePrediction:
        return None


def _end_with(parent: int) -> None:
    """A model may sleep for ever: nobody but this thread would see that the predictor is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(0)


def _limit_memory(limit: int = MEMORY_MAX) -> None:
    """Bound private writable memory: heap and anonymous maps, touched or not; what is shared or cannot be written does
    not count. Of a machine that allows less, the less: nobody can raise a hard limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def main() -> None:
    """Serve until standard input ends or the parent is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _serve(sys.argv[1], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
