"""`python -m vispec` is `vispec`."""

from vispec.cli.main import main

if __name__ == "__main__":
    main(prog_name="vispec")
