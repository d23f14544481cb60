"""`python -m dp_ir` is the `dp-ir` command."""

from dp_ir.interfaces.cli import main

if __name__ == "__main__":
    main()
