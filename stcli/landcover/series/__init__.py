"""Models of series: a season's steps, a scan over time, the methods without a memory."""
