"""Which view answers which path."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from orders import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("orders/", views.orders),
    path("healthz", views.healthz),
    path("readyz", views.readyz),
]
