# frozen_string_literal: true

require "fileutils"

desc "Build the Ruby extension and put it into ruby/lib/stepwell (STEPWELL_PROFILE=dev for a debug build)"
task :compile do
  profile = ENV.fetch("STEPWELL_PROFILE", "release")
  abort "STEPWELL_PROFILE is #{profile.inspect}: it can be release or dev" unless %w[release dev].include?(profile)

  Project.heading "compile"
  sh "cargo", "build", "--profile", profile, "-p", "stepwell-ruby", *Project::QUIET
  folder = profile == "dev" ? "debug" : profile
  built = File.join(Project::TARGET, folder, "libstepwell_native.#{RbConfig::CONFIG["SOEXT"]}")
  next if File.exist?(Project::EXTENSION) && FileUtils.cmp(built, Project::EXTENSION)

  # Copy beside it and rename: a process that has the old file mapped keeps it.
  FileUtils.cp(built, "#{Project::EXTENSION}.new")
  File.rename("#{Project::EXTENSION}.new", Project::EXTENSION)
  puts "#{Project::EXTENSION.delete_prefix("#{Project::ROOT}/")}: #{File.size(Project::EXTENSION) / 1024} kB"
end
