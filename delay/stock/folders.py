"""Model folders (MLflow's pyfunc) as bytes: packed the same way each time, so that a digest names what is in them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from domain.errors import BadDocument

FILES_MAX: Final = 500
BYTES_MAX: Final = 64 * 1024 * 1024
"""Unpacked."""
_SAME_DATE: Final = (1980, 1, 1, 0, 0, 0)
_CACHES: Final = "__pycache__"


def packed(folder: Path) -> bytes:
    """The files of a folder as a zip: sorted by name, without dates and caches.

    Raises:
        BadDocument: there are too many, or they are too large.
        OSError: one cannot be read.
    """
    files = sorted(each for each in folder.rglob("*") if each.is_file() and _CACHES not in each.parts)
    if len(files) > FILES_MAX or sum(each.stat().st_size for each in files) > BYTES_MAX:
        reason = f"holds more than {FILES_MAX} files or {BYTES_MAX} bytes"
        raise BadDocument(reason, path="body", mend="keep only the model in its folder")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in files:
            info = zipfile.ZipInfo(each.relative_to(folder).as_posix(), _SAME_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, each.read_bytes())
    return made.getvalue()


def unpack(raw: bytes, folder: Path) -> None:
    """Write the files of a packed folder into another.

    Raises:
        BadDocument: it is no such folder, too large, or would write elsewhere.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            if len(entries) > FILES_MAX or sum(each.file_size for each in entries) > BYTES_MAX:
                raise BadDocument("unpacks to too much", path="body", mend="keep only the model in its folder")
            for each in entries:
                way = PurePosixPath(each.filename)
                if way.is_absolute() or ".." in way.parts:
                    raise BadDocument("holds a file outside of its folder", path="body", mend="pack it anew")
                target = folder / way
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(each))
    except zipfile.BadZipFile as error:
        mend = "register the folder with `orderplan model register`"
        raise BadDocument("is no packed folder", path="body", mend=mend) from error
