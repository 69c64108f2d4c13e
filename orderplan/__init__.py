"""The public face of orderplan: what plug-ins and scripts import."""
