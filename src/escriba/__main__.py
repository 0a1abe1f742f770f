"""``python -m escriba`` does whatever ``escriba`` does; it knows nothing more."""

from escriba.cli.main import main

if __name__ == "__main__":
    main()
