"""Help in choosing a loss: what the data are, and which loss suits them; `fastloss.recommend`."""
