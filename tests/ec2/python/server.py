"""moto's server with authentication on, for as long as standard input stays open.

Users, keys, a role and instances are made first, while anyone may; then every request must be signed with a key made here.
What was made goes to standard output as one line of JSON. The process ends when its parent does, however that ends: the pipe
at standard input is closed by the kernel.
"""

import argparse
import json
import logging
import os
import sys
import threading

# Hundreds of images, each with a snapshot, which would be in every listing.
os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["ec2:*", "sts:*"], "Resource": "*"}]}
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}


def user(iam, name, policy):
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"arn": arn, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def role(iam, name, trust):
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(ALLOW))
    return made["Role"]["Arn"]


def look_up_tags():
    """Tags of a resource are looked up by its id. moto reads through the tags of all resources for each one that a filter meets,
    which with hundreds of volumes is all that it does; what it answers stays the same."""
    from moto import backends
    from moto.ec2.models.core import TaggedEC2Resource
    from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

    def get_tags(self):
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.id), "") if self.id else ""
        tags = self.ec2_backend.tags.get(self.id, {})
        return [
            {"resource_id": self.id, "key": key, "value": value, "resource_type": kind}
            for key, value in tags.copy().items()
        ]

    TaggedEC2Resource.get_tags = get_tags
    # Nor is its own folder listed for each request.
    modules = list(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules


def main():
    look_up_tags()
    parser = argparse.ArgumentParser()
    parser.add_argument("--region", default="eu-central-1")
    parser.add_argument("--instances", type=int, default=3, help="instances in each zone")
    parser.add_argument("--instance-type", default="m5.large")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    server = ThreadedMotoServer("127.0.0.1", args.port, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": args.region,
        "aws_access_key_id": "setup",
        "aws_secret_access_key": "setup",
        # The first request of a service has moto load what it knows of it, which takes minutes in an emulated machine. Sent again, it
        # would find what the first one made.
        "config": Config(read_timeout=900, retries={"total_max_attempts": 1}),
    }
    iam, ec2 = boto3.client("iam", **options), boto3.client("ec2", **options)
    # The driver's own, another that may only look, and the proxy's for what it asks on its own account.
    users = {name: user(iam, name, policy) for name, policy in (("driver", ALLOW), ("reader", READ), ("proxy", ALLOW))}
    trust = {"Effect": "Allow", "Principal": {"AWS": users["driver"]["arn"]}, "Action": "sts:AssumeRole"}
    roles = {"driver": role(iam, "driver", trust)}
    zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]]
    image = ec2.register_image(Name="boot", RootDeviceName="/dev/sda1")["ImageId"]
    instances = []
    for zone in zones:
        made = ec2.run_instances(
            ImageId=image,
            InstanceType=args.instance_type,
            MinCount=args.instances,
            MaxCount=args.instances,
            Placement={"AvailabilityZone": zone},
        )
        for instance in made["Instances"]:
            instances.append({"id": instance["InstanceId"], "zone": zone, "type": instance["InstanceType"]})
    # What the instances boot from is no volume of a driver, and is not counted as one: it has no tags.

    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin

    # The variable of this name, set once what comes before is done: counting requests would depend on how boto3 is made.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin.request_count = 0
    facts = {
        "port": port,
        "region": args.region,
        "users": users,
        "roles": roles,
        "zones": zones,
        "instances": instances,
    }
    print(json.dumps(facts), flush=True)

    ended = threading.Event()

    def watch():
        while sys.stdin.buffer.read(1):
            pass
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    ended.wait()
    # Threads of requests that are under way don't matter any more.
    os._exit(0)


if __name__ == "__main__":
    main()
