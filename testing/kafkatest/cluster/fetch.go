//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"
)

const defaultVersion = "4.4.0"

var versionPattern = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

// The POM adds log4j, because Kafka contains slf4j 1.7 without a binding for it. Without
// log4j the brokers would write their logs to standard output.
var pom = template.Must(template.New("pom.xml").Parse(`<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>io.trunkline.kafkatest</groupId>
  <artifactId>cluster</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{{.}}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.3</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.25.3</version></dependency>
  </dependencies>
</project>
`))

// findJava returns the path of java.
func findJava() (string, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return "", errors.New("java is not in PATH: install a Java runtime, version 17 or later (Debian: openjdk-17-jre-headless)")
	}
	return java, nil
}

// fetch returns the folder with the jars of a Kafka version. It fetches them from Maven
// Central unless the cache contains them. It renames the folder into place when it is
// complete, so the cache never contains an incomplete one.
func fetch(ctx context.Context, cache, version string, progress func(string, ...any)) (string, error) {
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the user's cache folder: %w; set HOME, or a folder with -cache", err)
		}
		cache = filepath.Join(user, "trunkline-kafka")
	}
	libs := filepath.Join(cache, version)
	if _, err := os.Stat(libs); err == nil {
		return libs, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("mvn is not in PATH and %s does not exist: install Maven to fetch Kafka %s from Maven Central", libs, version)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("create the cache folder: %w", err)
	}
	staging, err := os.MkdirTemp(cache, "fetch-*")
	if err != nil {
		return "", fmt.Errorf("create a temporary folder in the cache: %w", err)
	}
	defer os.RemoveAll(staging)

	progress("fetching Kafka %s from Maven Central into %s", version, libs)
	var project bytes.Buffer
	if err := pom.Execute(&project, version); err != nil {
		return "", fmt.Errorf("write pom.xml: %w", err)
	}
	if err := os.WriteFile(filepath.Join(staging, "pom.xml"), project.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("write pom.xml: %w", err)
	}
	cmd := exec.CommandContext(ctx, mvn, "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=libs")
	cmd.Dir = staging
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("fetch Kafka %s with mvn: %w\n%s", version, err, strings.TrimSpace(string(out)))
	}
	err = os.Rename(filepath.Join(staging, "libs"), libs)
	if _, statErr := os.Stat(libs); err != nil && statErr != nil {
		return "", fmt.Errorf("move Kafka %s into the cache: %w", version, err)
	}
	return libs, nil
}
