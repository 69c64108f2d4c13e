"""Everything that knows SQL: schema, migrations, journal, read models, the embedded server."""
