"""Prints what the machine has: to see where an experiment really ran."""

import psutil

GIB = 2**30
memory = psutil.virtual_memory()
disk = psutil.disk_usage("/")

print(f"Cpu count = {psutil.cpu_count()}")
print(f"RAM: total {memory.total / GIB:.1f}g, free {memory.available / GIB:.1f}g")
print(f"HDD: total {disk.total / GIB:.1f}g, free {disk.free / GIB:.1f}g")
