"""What a checked graph costs, promises and looks like: figures, contracts, hashes, differences, pictures."""
