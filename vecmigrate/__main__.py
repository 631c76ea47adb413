"""`python -m vecmigrate` is `vecmigrate`."""

from vecmigrate.cli import main

if __name__ == "__main__":
    main()
