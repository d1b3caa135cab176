"""A worker: confirms the orders that nobody has confirmed yet, as many workers as there are side by side."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from orders.models import Order

INTERVAL_S = 1.0


class Command(BaseCommand):
    """``python manage.py confirm_orders``, until SIGTERM."""

    help = "Confirm new orders until the process is told to end."

    def handle(self, *_: Any, **__: Any) -> None:
        """Confirm one order after the other."""
        ended = threading.Event()
        # The first process of a container does not end by itself.
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        while not ended.is_set():
            if not self.confirm_one():
                ended.wait(INTERVAL_S)

    def confirm_one(self) -> bool:
        """Confirm the oldest order that no other worker has in hand; tell whether there was one."""
        with transaction.atomic():
            waiting = Order.objects.select_for_update(skip_locked=True).filter(confirmed=None)
            order = waiting.order_by("id").first()
            if order is None:
                return False
            order.confirmed = timezone.now()
            order.save(update_fields=["confirmed"])
        self.stdout.write(f"confirmed {order}")
        return True
