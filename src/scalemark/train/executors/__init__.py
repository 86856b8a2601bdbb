"""Who trains: workers of this machine, tasks of a Ray cluster, or jobs of Slurm.

pool.py     the jobs, and the seats that they are done at, whatever those are
local.py    a worker process
ray.py      a task of a Ray cluster
slurm.py    a job of Slurm, by way of submitit
remote.py   what happens at the other end of the last two
"""
