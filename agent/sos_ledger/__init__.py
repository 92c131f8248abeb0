"""``safezone ledger``: reads the ledgers of station and agents, and says what was changed in them or is missing."""
