"""Makes the small captures of this folder, and its README: ``python tests/pcaps/make.py [folder]``.

Rules:
    1. The same code gives the same bytes, so a changed capture is a changed promise.
    2. Captures that hold "the reference" hold the same packets at the same times: their flows are equal.
       All its times are multiples of 125 ms, which every resolution here can hold exactly.
    3. One capture shows one thing; its README line says what, and names what a reader must do with it.
"""

import sys
from pathlib import Path
from typing import Final

from file_captures import broken, containers
from ip_captures import hostile, layers, links
from service_captures import services
from tcp_captures import tcp_states

GROUPS: Final = (containers, links, layers, tcp_states, services, hostile, broken)


def main(folder: Path) -> None:
    """Write every capture and the README into *folder*."""
    lines = [
        "# Captures",
        "",
        "Made by `make.py` (run it after changing it; do not edit the files by hand).",
        "",
    ]
    lines += [
        '"The reference" is one set of packets: a DNS lookup, a TLS session, one ping: three flows.',
        "",
    ]
    for group in GROUPS:
        lines += [f"## {(group.__doc__ or '').rstrip('.')}", ""]
        for capture in group():
            (folder / capture.name).write_bytes(capture.content)
            lines.append(f"- `{capture.name}`: {capture.says}")
        lines.append("")
    (folder / "README.md").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
