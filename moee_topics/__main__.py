"""``python -m moee_topics`` is the command ``moee-topics``."""

from __future__ import annotations

from moee_topics.cli import main

if __name__ == "__main__":
    main()
