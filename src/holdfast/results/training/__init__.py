"""What training finds: PRISM, PerMix, and recipes of both."""
