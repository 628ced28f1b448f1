"""Commands that look after a workspace: status, reasons, space, health, delivery, pages, games."""
