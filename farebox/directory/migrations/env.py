"""Alembic's entry: runs the steps on the connection of `farebox.directory.migrating`, in its transaction."""

from alembic import context

from farebox.directory.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
