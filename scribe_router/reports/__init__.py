"""What is read off the ledger and the price map on demand: sums, experiments, checks. No request waits here."""
