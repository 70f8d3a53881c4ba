"""``python -m n6convert``."""

from __future__ import annotations

from n6convert.cli import main

if __name__ == "__main__":
    main()
