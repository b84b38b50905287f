"""`python -m optimizer` is `shardproof`."""

from optimizer.cli import main

main()
