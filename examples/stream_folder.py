"""Restore a folder from another program, and hear of each photo when it is done.

    python examples/stream_folder.py photos/ restored/

`dp-ir restore --json` prints one JSON object per photo and then a summary. A batch that was stopped goes on where it
was: run this twice, and the second run skips what is done. What cannot be restored is named with its reason, and the
rest goes on.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


def restored(folder: str, out: str, *options: str) -> Iterator[dict[str, Any]]:
    """What became of each photo, as soon as it is known; last of all the summary."""
    command = [sys.executable, "-m", "dp_ir", "restore", folder, "--out", out, "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as batch:
        assert batch.stdout is not None
        for line in batch.stdout:
            yield json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--task", default="photo")
    options = parser.parse_args()

    for event in restored(options.folder, options.out, "--task", options.task):
        if "summary" in event:
            print(", ".join(f"{count} {status}" for status, count in event["summary"].items()))
        elif event["status"] == "failed":
            print(f"{event['source']}: {event['reason']}")
        else:
            print(f"{event['source']}: {event['status']} in {event['seconds']:.1f} s, {', '.join(event['targets'])}")


if __name__ == "__main__":
    main()
