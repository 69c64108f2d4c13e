"""Writes src/api.generated.ts: every operation of the public API with its method, path, parameters and role.

Made from the gateway's own list of routes, which is also what /openapi.json is made from. Needs no Node.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = ROOT / "console" / "src" / "api.generated.ts"
HEAD: Final = "// Made by console/make_api.py from the OpenAPI document; do not edit.\n\n"


def typescript_of(document: dict[str, Any]) -> str:
    """The operations of an OpenAPI document as TypeScript."""
    rows, parameters = [], []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            name = operation["operationId"]
            rows.append(f'  {name}: {{ method: "{method.upper()}", path: "{path}", role: "{operation["x-role"]}" }},')
            types = [
                f"{each['name']}: " + " | ".join(f'"{one}"' for one in each["schema"].get("enum", ())) or "string"
                if "enum" in each["schema"]
                else f"{each['name']}: string"
                for each in operation["parameters"]
            ]
            parameters.append(f"  {name}: {{ {'; '.join(types)} }};" if types else f"  {name}: Record<never, string>;")
    return (
        f"{HEAD}export const OPERATIONS = {{\n" + "\n".join(rows) + "\n} as const;\n\n"
        "export interface Parameters {\n" + "\n".join(parameters) + "\n}\n\n"
        "export type Operation = keyof typeof OPERATIONS;\n"
    )


def main() -> None:
    """Write the file."""
    sys.path.insert(0, str(ROOT))
    from gateway.app import VERSION
    from gateway.openapi import openapi_document
    from gateway.routes import ROUTES

    TARGET.write_text(typescript_of(openapi_document(ROUTES, VERSION)), encoding="utf-8")


if __name__ == "__main__":
    main()
