"""Cycles in a graph, for messages that name one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node")


def find_cycle(edges: Mapping[Node, Iterable[Node]]) -> list[Node]:
    """One cycle as a path whose last node equals its first, or an empty list. Iterative: graphs may be deep."""
    white, grey, black = 0, 1, 2
    colour = dict.fromkeys(edges, white)
    for start in edges:
        if colour[start] != white:
            continue
        path: list[Node] = [start]
        stack = [iter(edges[start])]
        colour[start] = grey
        while stack:
            for node in stack[-1]:
                if colour.get(node) == grey:
                    return [*path[path.index(node) :], node]
                if colour.get(node) == white:
                    colour[node] = grey
                    path.append(node)
                    stack.append(iter(edges[node]))
                    break
            else:
                stack.pop()
                colour[path.pop()] = black
    return []
