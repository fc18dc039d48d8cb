# frozen_string_literal: true

require "open3"

namespace :doc do
  desc "Every public Ruby object is documented"
  task :ruby do
    report, status = Open3.capture2e(RbConfig.ruby, "-S", "yard", "stats", "--list-undoc", chdir: Project::ROOT)
    share = report[/([\d.]+)% documented/, 1]
    abort report unless status.success? && share && share.to_f >= 100 && !report.include?("[warn]")
    puts "yard: #{share}% documented"
  end

  desc "The Rust documentation builds without a warning"
  task :rust do
    sh({ "RUSTDOCFLAGS" => "-D warnings" }, "cargo", "doc", "--workspace", "--no-deps", *Project::QUIET)
  end
end

desc "Check the documentation of both languages"
task :doc do
  Project.heading "docs"
  %w[ruby rust].each { |name| Rake::Task["doc:#{name}"].invoke }
end
