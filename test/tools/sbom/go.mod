// Lists what is inside the plugin (SBOM). A module of its own, because the plugin needs none of it.
module out_amberflo/test/tools/sbom

go 1.26.3

require github.com/CycloneDX/cyclonedx-go v0.12.0
