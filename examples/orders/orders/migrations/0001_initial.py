"""Create the table of orders."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """As ``makemigrations`` has written it."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("item", models.CharField(max_length=200)),
                ("placed", models.DateTimeField(auto_now_add=True)),
                ("confirmed", models.DateTimeField(blank=True, db_index=True, null=True)),
            ],
        ),
    )
