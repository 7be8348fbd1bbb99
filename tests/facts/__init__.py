"""What is known of providers and of LiteLLM: each fact is asked of plain LiteLLM and of this router alike."""
