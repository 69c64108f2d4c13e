"""The life of a delay model: trained and chosen, kept as a document, run from it, watched and promoted by rule."""
