"""What customers have ordered."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order, which a worker confirms."""

    item = models.CharField(max_length=200)
    placed = models.DateTimeField(auto_now_add=True)
    confirmed = models.DateTimeField(null=True, blank=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.item} ({self.pk})"
