"""Galleries on Milvus: one collection each, whose server or cluster searches, replicates and keeps it."""
