"""The orders in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from orders.models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The list of orders."""

    list_display = ("id", "item", "placed", "confirmed")
