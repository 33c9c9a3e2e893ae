"""What only the holder of an attempt's token may see."""
