"""Task logs and reports: from the living peon while it speaks, from object storage after that."""
