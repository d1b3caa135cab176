#!/bin/bash
# Leaves out of the packages what no running pgAdmin opens, compiles the rest, and moves pgAdmin to /pgadmin4.
set -euo pipefail
cd /venv/lib/python3.13/site-packages

find . -type d \( -name tests -o -name test -o -name regression \) -prune -exec rm -r {} +
find . -type f \( -name '*.map' -o -name '*.po' -o -name '*.pot' -o -name '*.pyi' -o -name '*.c' -o -name '*.h' \) -delete
# The manual stays readable, without its screenshots.
mv pgadmin4/docs/en_US/_build/html manual
rm -r pgadmin4/docs manual/_images manual/_sources
find manual/_static -type f ! -name '*.css' ! -name '*.js' -delete

keep() { # keep <folder> <name>...: deletes all entries of the folder but these
    local folder=$1 names=() name
    shift
    for name; do names+=(-o -name "$name"); done
    find "$folder" -mindepth 1 -maxdepth 1 ! \( "${names[@]:1}" \) -exec rm -r {} +
}
# Cloud deployment asks for these services alone.
keep googleapiclient/discovery_cache/documents 'sqladmin.*.json' 'compute.v1.json' 'cloudresourcemanager.v1.json'
keep botocore/data '*.json' rds ec2 sts sso sso-oidc
# pgAdmin's languages, and the names that its time zones and numbers fall back on.
keep babel/locale-data root.dat 'en*' 'zh_Han*' zh.dat cs.dat fr.dat de.dat id.dat it.dat ja.dat ko.dat pl.dat \
    pt.dat pt_BR.dat ru.dat es.dat sv.dat

# Ships for SQLAlchemy's own tests.
rm -r sqlalchemy/testing

mv pgadmin4 /pgadmin4
mv manual /pgadmin4/docs
cp /build/config_distro.py /build/run_pgadmin.py /pgadmin4/
# The root file system is read-only, so nothing could be compiled later; cloud deployment's packages may be slower.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    -x '/(azure|boto3|botocore|google|googleapiclient|msal|setuptools)/' /pgadmin4 .
