"""``python -m apxm``, the same as the command ``apxm``."""

from apxm.cli.main import main

if __name__ == "__main__":
    main()
